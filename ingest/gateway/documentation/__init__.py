"""The OpenAPI document and its page: what FastAPI knows of the routes, and what each route declares of itself."""
