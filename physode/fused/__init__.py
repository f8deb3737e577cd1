"""The fused engine: one kernel a solve, made from the right-hand side's own arithmetic."""
