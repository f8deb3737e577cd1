"""Compiled solves: the loop, its outputs and ACA's backward pass as tensor programs without the interpreter.

The right-hand side is traced once (:mod:`capture`) and inlined in programs made from the same step functions that the
uncompiled solver calls (:mod:`forward`, :mod:`pullback`, :mod:`reading`), each compiled once
(:mod:`build`, :mod:`engine`) and run block of steps after block (:mod:`solving`, :mod:`backward`).
"""
