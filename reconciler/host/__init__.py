"""Host resources of a VM: files, huge pages, taps, PCI devices, inotify, control groups."""
