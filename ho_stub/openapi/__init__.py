"""The API's description, complete: every route with true examples of what it takes and answers.

asked     the example requests, in an order in which they can be made
answers   what a stub of each profile answered to them (answers.json; `python -m ho_stub.openapi.record` renews it)
schemas   JSON schemas worked out from examples
complete  FastAPI's own description, completed by these
collect   the same requests as an HTTP file or a Postman collection (`ho-stub requests`)
"""
