"""Equations as text: expressions read, checked for names and dimensions, and turned into torch operations."""
