"""The API's verbs by what they are about; each calls one function of the agent and answers with its form."""
