// Package siteapi is the agent's API on its own host: HTTP and JSON over a Unix socket, with types, server and client.
//
//	GET  /v1/status               a Status
//	GET  /v1/watch                a Status a line: now, and whenever something changed
//	POST /v1/drain   {"service"}  drain one service, all without a name; answers a Status
//	POST /v1/undrain {"service"}  take that back
//
// An error is answered as {"error": "..."}. Who may write to the socket may drain: its file mode is the whole access control.
package siteapi

import (
	"errors"
	"net/netip"
	"time"
)

// DefaultSocket is where edgectl looks for the agent.
const DefaultSocket = "/run/anyedge/agent.sock"

// ErrNoService is the error for a service that the agent does not know.
var ErrNoService = errors.New("no such service")

// Status is all that an agent tells of itself.
type Status struct {
	Site      string     `json:"site"`
	Version   string     `json:"version"`
	Services  []Service  `json:"services"`
	Neighbors []Neighbor `json:"neighbors"`
}

// Service is one service now.
type Service struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // as in the journal: up, draining, drained, ...
	Since  time.Time `json:"since"` // of State
	Reason string    `json:"reason"`
	Drain  string    `json:"drain,omitempty"` // why it is to be drained; empty: it is not
	VIPs   []VIP     `json:"vips"`
	Health Health    `json:"health"`
	Checks []Check   `json:"checks"`
}

// VIP is one service address and the prefix that announces it.
type VIP struct {
	Address  netip.Prefix `json:"address"`
	Announce netip.Prefix `json:"announce"`
}

// Health is what the checks of a service say together.
type Health struct {
	State  string    `json:"state"` // unknown, up, down
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`

	Degraded string `json:"degraded,omitempty"` // which remote check is down; empty: none
}

// Check is one check now.
type Check struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // unknown, up, down
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Neighbor is one BGP session now.
type Neighbor struct {
	Address    netip.Addr     `json:"address"`
	ASN        uint32         `json:"asn"`
	State      string         `json:"state"` // RFC 4271 section 8.2.2
	Since      time.Time      `json:"since"`
	Families   []string       `json:"families,omitempty"`    // negotiated
	NotCarried []netip.Prefix `json:"not_carried,omitempty"` // wanted, but this session cannot carry them
	Reason     string         `json:"reason,omitempty"`      // of the last loss of the session
}

// order is the body of a POST.
type order struct {
	Service string `json:"service"`
}

// refusal is the body of an error.
type refusal struct {
	Error string `json:"error"`
}
