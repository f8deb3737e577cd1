"""Implicit methods for stiff problems: Rosenbrock pairs, implicit Runge-Kutta methods, and their linear algebra."""
