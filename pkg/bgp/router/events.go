package router

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// events are the kernel's notices of links and addresses.
type events struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
}

// subscribe asks for the kernel's notices. The sockets are closed by the returned function.
func subscribe() (events, func(), error) {
	e := events{links: make(chan netlink.LinkUpdate, 64), addrs: make(chan netlink.AddrUpdate, 64)}
	done := make(chan struct{})
	if err := netlink.LinkSubscribe(e.links, done); err != nil {
		close(done)
		return e, nil, fmt.Errorf("cannot watch links: %w", err)
	}
	if err := netlink.AddrSubscribe(e.addrs, done); err != nil {
		close(done)
		return e, nil, fmt.Errorf("cannot watch addresses: %w", err)
	}
	return e, func() {
		close(done)
		for range e.links { // the subscriber may be blocked in a send; it closes the channel when it ends
		}
		for range e.addrs {
		}
	}, nil
}
