"""Head office's pages for people: no framework, no inline script, no request to anywhere else.

base          what every page needs: who is signed in, forms, the layout, answers, errors as pages
sessions      who is signed in, kept in the database
assets        the style sheet and the scripts
attempts      wrong sign-ins, and how many are too many
sign_in       the sign-in page, signing out
start         the start page
pages         all of them, put into the application; the links of the start page
templates/    their HTML (Jinja2, always escaped); static/ the style sheet and scripts
"""
