"""`softtargets compare` on data of other kinds than classification, a module named as the kind."""
