"""A GitOps reconciler for StratoVirt virtual machines."""

__version__ = "0.1.0"
