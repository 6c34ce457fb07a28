"""Events, status, log, the HTTP API, webhooks: everything that leaves the reconciler."""
