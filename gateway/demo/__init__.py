"""The demo: a sample portal and dashboard, a provider, a directory stub, and Doorward in front of them."""
