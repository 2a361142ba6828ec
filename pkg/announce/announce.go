// Package announce decides what is announced: from the health of the services to the whole wanted set of addresses and
// advertisements. Decide is pure; the Controller is a thin loop around it.
package announce

import (
	"net/netip"
	"time"
)

// When tells which of several VIPs under one advertisement must be served.
type When int

// Any is the zero value: one served VIP is enough.
const (
	Any When = iota
	All
)

// A VIP is one service address and the prefix that announces it.
type VIP struct {
	Address  netip.Prefix // /128 or /32, on the host
	Announce netip.Prefix // equal to Address unless a covering prefix is announced
	When     When         // only for a covering prefix that several VIPs share; the same on all of them
}

// A Service is announced exactly while it works.
type Service struct {
	Name   string
	VIPs   []VIP
	Settle time.Duration // up this long before it is announced
	Drain  time.Duration // how long it is announced de-preferred before a drain, or a stop, withdraws it
	File   string        // drained while this file exists; empty: none
}
