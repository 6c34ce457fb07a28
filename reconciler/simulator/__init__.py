"""A stand-in for StratoVirt: a real process that behaves like one, without KVM and without root.

Start it with StratoVirt's own options, on nothing but the standard library:

    python -I -S reconciler/simulator -name web1 -machine q35 -m 512m ... -qmp unix:S,server,nowait
    python -m reconciler.simulator ...

The second form needs the package on the path and loads the site's own modules; the first is
faster and smaller. What it answers, refuses, creates and removes was compared side by side with
StratoVirt 2.5.0 on x86_64. The guest is pretended: it prints one line on the serial port, echoes
what is typed on a console, lets devices go when asked, and answers a guest agent (guest-sync,
guest-ping, guest-info, guest-shutdown) on the socket of a virtserialport.

Faults
------
The environment variable STRATOVIRT_SIMULATOR holds a JSON object: VM names (of `-name`, without
`guest=` and what follows a comma) to faults. `*` is for all VMs; a VM's own faults come on top.
`@/path/file.json` names a file with that object, read again at each start; a file that is not
there means no faults. An unknown fault ends the start with an error on stderr.

    {"*": {"features": ["virtio_rng"]}, "web1": {"start_delay": 2, "fail": "no luck"}}

Start:
  start_delay       seconds before anything is there, not even the QMP socket
  fail              the reason that a start fails with, on stderr below `Caused by:`; several
                    lines are a chain of reasons
  fail_code         its exit status (1)
  fail_starts       only the first N starts fail; needs counter
  counter           a file that counts the starts of this VM
  features          optional features present: virtio_rng vhost_vsock vhost_net vfio virtio_gpu
                    virtio_scsi vhostuser_block vhostuser_gpu virtio_pmem ramfb pvpanic vnc, or all
  arch              "aarch64" or "x86_64" instead of the host's
QMP:
  never_greets      true: a client is accepted, and nothing is ever sent
  close_after_greeting  true
  garbage           true: every answer is no JSON
  hang_after        N: after N answers nothing is answered any more; 0: never anything. Commands
                    are not run either, events still come
  answer_delay      seconds before each answer; everything else waits as well
  stop_fails        seconds (2 in a real one) that `stop` takes to fail with `Failed to pause VM`
  events            "all": events go to every client. A real one sends them to the client only that
                    connected last, on whichever monitor
End:
  ignore_sigterm    true: SIGTERM, SIGINT and SIGHUP are mentioned on stderr, nothing more
  ignore_quit       true: `quit` answers {} and nothing happens
  quit_delay        seconds between the answer to `quit` and the end
  die_after         seconds after the start at which it ends
  die_code          with this exit status; 0 (the default): as when the guest powers off
  die_signal        by this signal's number; the socket files stay then
  die_starts        only the first N starts die; needs counter
Guest:
  guest_ignores_shutdown  true: the agent's guest-shutdown does nothing
  guest_ignores_unplug    true: a device that was deleted never goes
  ignore_powerdown  true: aarch64's power button does nothing
  balloon           true: the guest has a balloon driver
  hello             the line that it prints
"""
