"""An initial value problem: what is asked of a solve, checked and made ready for the engine."""
