"""Records of claims as a table, pictures, a page, and the page of the documentation."""
