"""PEtab: the tables and SBML models of parameter estimation in systems biology, read into an estimation."""
