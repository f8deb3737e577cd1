"""Events: where a condition on time and state crosses zero, what happens there, and its gradients."""
