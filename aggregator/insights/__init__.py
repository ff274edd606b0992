"""Live rates, alerts and webhooks: approximate, or late, by contract. Nothing in billing depends on this process."""
