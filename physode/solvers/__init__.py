"""The engine: tableaus, steps, controllers, loops, interpolation. It knows nothing of gradients."""
