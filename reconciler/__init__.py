"""A GitOps reconciler for StratoVirt virtual machines: files in, VMs that stay as the files say."""

__version__ = "0.2.0"
