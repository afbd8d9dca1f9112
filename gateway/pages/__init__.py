"""The pages that people see, and what programs read instead.

renderer   one template for every page; problem+json (RFC 9457) for programs
"""
