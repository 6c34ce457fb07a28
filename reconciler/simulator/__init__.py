"""A simulator of StratoVirt: a real process with its interfaces, without KVM and without root.

It takes StratoVirt's options, and needs only the standard library:

    python -I -S reconciler/simulator -name web1 -machine q35 -m 512m ... -qmp unix:S,server,nowait
    python -m reconciler.simulator ...

The second form needs the package on the path and loads site-packages; the first is faster and
smaller. Its answers, errors and files were compared side by side with those of
StratoVirt 2.5.0 on x86_64. There is no guest; the simulator acts like one: it prints one line on
the serial port, echoes console input, releases devices on request, and answers as a guest agent
(guest-sync, guest-ping, guest-info, guest-shutdown) on the socket of a virtserialport.

Faults
------
The environment variable STRATOVIRT_SIMULATOR holds a JSON object: VM names (of `-name`, without
`guest=` and anything after a comma) to faults. `*` applies to all VMs; a VM's own entry overrides
it. `@/path/file.json` names a file with that object, read at each start; a missing file means no
faults. An unknown fault makes the start fail with an error on stderr.

    {"*": {"features": ["virtio_rng"]}, "web1": {"start_delay": 2, "fail": "no luck"}}

Start:
  start_delay       seconds before the start, and so before the QMP socket exists
  fail              makes the start fail with this reason, on stderr below `Caused by:`; several
                    lines are a chain of reasons
  fail_code         exit status of a failed start (default 1)
  fail_starts       only the first N starts fail; needs counter
  counter           file in which the starts of this VM are counted
  features          optional build features: virtio_rng vhost_vsock vhost_net vfio virtio_gpu
                    virtio_scsi vhostuser_block vhostuser_gpu virtio_pmem ramfb pvpanic vnc, or all
  arch              "aarch64" or "x86_64" instead of the host's
QMP:
  never_greets      true: clients are accepted, but nothing is ever sent
  close_after_greeting  true
  garbage           true: answers are not JSON
  hang_after        N: after N answers, commands are neither executed nor answered; events are
                    still sent
  answer_delay      seconds before each answer; the whole process waits
  stop_fails        seconds after which `stop` fails with `Failed to pause VM` (StratoVirt: 2)
  events            "all": events go to every client. StratoVirt sends them only to the client that
                    connected last, on any monitor
End:
  ignore_sigterm    true: SIGTERM, SIGINT and SIGHUP are only logged on stderr
  ignore_quit       true: `quit` answers {} and nothing happens
  quit_delay        seconds between the answer to `quit` and the end
  die_after         seconds after the start at which it ends
  die_code          exit status; 0 (the default): as after a power-off by the guest
  die_signal        number of the signal to die by; the socket files are left behind
  die_starts        only the first N starts die; needs counter
Guest:
  guest_ignores_shutdown  true: the agent's guest-shutdown does nothing
  guest_ignores_unplug    true: the guest never releases a deleted device
  ignore_powerdown  true: the power button (aarch64) does nothing
  balloon           true: the guest has a balloon driver
  hello             the line that the guest prints
"""
