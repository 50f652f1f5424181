from .zz_noun import X
def test_x(): assert X==1
