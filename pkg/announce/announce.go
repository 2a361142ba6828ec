// Package announce decides what is announced and what is bridged: from the health of the services, from what other hosts
// say of themselves and from what routers send back, to the whole wanted set of addresses, bridges and advertisements.
// Every VIP has a machine of its own; Decide is pure, so are the guards over all VIPs, and the Controller is a thin loop
// around them. docs/design/0002-states.md has the whole table.
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

// A Service is announced while it works. A VIP belongs to one service.
type Service struct {
	Name   string
	VIPs   []VIP
	Settle time.Duration // up this long before it is announced, or served here again
	Drain  time.Duration // how long it is announced de-preferred before a drain, or a stop, withdraws it
	File   string        // drained while this file exists; empty: none
	Leave  string        // why it is to be drained, for people, whatever else is asked for; empty: it is not
	Guard  Guard
}

// Config is what a Controller decides on.
type Config struct {
	Services []Service
	Bridge   Times
	Guards   Guards
}

// Times bound local repair.
type Times struct {
	Grace time.Duration // bridged this long before routers are told; zero: 1 s, negative: not at all
	Max   time.Duration // bridged this long at most where another host is seen to announce it; zero: 60 s
}

// The defaults of Times.
const (
	DefaultGrace = time.Second
	DefaultMax   = time.Minute
)

func (t Times) withDefaults() Times {
	if t.Grace == 0 {
		t.Grace = DefaultGrace
	}
	if t.Max <= 0 {
		t.Max = DefaultMax
	}
	return t
}

// Quiet is how long no packet may have come over a bridge, or nobody else may have been seen to announce a VIP, before
// that counts.
const Quiet = time.Second
