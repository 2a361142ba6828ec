package router

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// raiseHopLimit makes what the listeners of this process on a TCP port answer leave with 255 hops. A neighbor with GTSM
// drops a SYN-ACK with fewer, and GoBGP sets its own sockets' hop limit only after it has accepted a connection; it does not
// hand out its listeners, so they are looked for among the open descriptors.
func raiseHopLimit(port int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot look for the bgp listeners: %w", err)
	}
	found := 0
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || !listensOn(fd, port) {
			continue
		}
		if err := setHopLimit(fd); err != nil {
			return fmt.Errorf("cannot set the hop limit of the bgp listener: %w", err)
		}
		found++
	}
	if found == 0 {
		return errors.New("the bgp listeners were not found")
	}
	return nil
}

func listensOn(fd, port int) bool {
	if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening == 0 {
		return false
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return name.Port == port
	case *unix.SockaddrInet6:
		return name.Port == port
	default:
		return false
	}
}

func setHopLimit(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	if domain == unix.AF_INET {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 255)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
}
