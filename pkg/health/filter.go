package health

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in an event: the netlink header, then struct inet_diag_msg with the local and the remote port.
const (
	offsetPort = unix.SizeofNlMsghdr + 4
	offsetPeer = unix.SizeofNlMsghdr + 6
)

// maxFilterPorts keeps the filter within the kernel's 4096 instructions (BPF_MAXINSNS).
const maxFilterPorts = 2000

// filter returns the classic BPF program that lets through the end of idle sockets (no remote port) on the ports of the
// listeners. Without it the end of every connection and client socket on the host is an event: a busy host fills the
// default queue, 166 events, within milliseconds, and the one that matters is lost. Ports beyond maxFilterPorts leave
// the choice of ports to the reader.
func filter(listeners []Listener) []unix.SockFilter {
	pass := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	ports := watchedPorts(listeners)
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: offsetPeer},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jt: 1},
		drop,
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: offsetPort},
	}
	if len(ports) > maxFilterPorts {
		return append(f, pass)
	}
	for _, port := range ports {
		// A return for each port, because a conditional jump reaches only 255 instructions far.
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1}, pass)
	}
	return append(f, drop)
}

func watchedPorts(listeners []Listener) []uint16 {
	var ports []uint16
	for _, l := range listeners {
		ports = append(ports, l.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
