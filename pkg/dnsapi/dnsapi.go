// Package dnsapi is edgedns' API on its own host: HTTP and JSON over a Unix socket, with types, server and client.
//
//	GET  /v1/status                                 a Status
//	GET  /v1/service?name=NAME                      a Service with its endpoints
//	GET  /v1/why?name=NAME&type=TYPE&client=ADDRESS&subnet=PREFIX   a Decision: what would be answered now, and why
//	POST /v1/drain   {"service", "address"}         give an endpoint nothing new; answers a Drained
//	POST /v1/undrain {"service", "address"}         take that back
//
// An error is answered as {"error": "..."}. Who may write to the socket may drain: its file mode is the whole access control.
package dnsapi

import (
	"errors"
	"net/netip"
	"time"
)

// DefaultSocket is where edgedns' own commands look for it.
const DefaultSocket = "/run/anyedge/dns.sock"

// ErrNotFound is the error for a service or an endpoint that the server does not have.
var ErrNotFound = errors.New("not found")

// Status is what a server tells of itself.
type Status struct {
	Site     string           `json:"site"`
	Version  string           `json:"version"`
	Listen   []netip.AddrPort `json:"listen"`
	Synced   bool             `json:"synced"` // false: SERVFAIL, because not every endpoint was checked yet
	Changed  time.Time        `json:"changed"`
	Reload   Reload           `json:"reload"`
	Services []Summary        `json:"services"`
}

// Reload is what became of the configuration.
type Reload struct {
	File   string    `json:"file"`
	Loaded time.Time `json:"loaded"`          // when the configuration in force was read
	Tried  time.Time `json:"tried"`           // the last reload; the start counts as one
	Error  string    `json:"error,omitempty"` // why that was refused; empty: it was not
}

// Summary is a service in short.
type Summary struct {
	Name      string   `json:"name"`
	Policy    string   `json:"policy"`
	Answers   int      `json:"answers"`
	Endpoints int      `json:"endpoints"`
	Up        int      `json:"up"`
	Draining  int      `json:"draining"`
	Panic     []string `json:"panic,omitempty"` // for each family that panics, why
	Stale     string   `json:"stale,omitempty"` // why what is known of it may be old; empty: it is not
}

// Service is a service with its endpoints, as every client sees it that no view narrows.
type Service struct {
	Summary
	List []Endpoint `json:"list"`
}

// Endpoint is one endpoint now.
type Endpoint struct {
	Address  netip.Addr `json:"address"`
	Port     uint16     `json:"port,omitempty"`
	State    string     `json:"state"`              // unknown, up, down
	Since    time.Time  `json:"since,omitzero"`     // of State; zero: nothing checks it
	Reason   string     `json:"reason,omitempty"`   // of State
	Capacity float64    `json:"capacity"`           // as declared
	Weight   float64    `json:"weight"`             // what that has become by load and slow start
	Weighing string     `json:"weighing,omitempty"` // what made the weight of the capacity
	LoadAge  *float64   `json:"load_age_s,omitempty"`
	NoLoad   string     `json:"no_load,omitempty"`  // why its load is not told now; empty: it is, or need not be
	Share    float64    `json:"share"`              // of the answers of its family that begin with it; by hash, of clients
	Picked   bool       `json:"picked,omitempty"`   // in a Decision: it is in the answer
	Draining string     `json:"draining,omitempty"` // why it gets nothing new; empty: it does
}

// A Question is what a Decision is asked for.
type Question struct {
	Name   string       // as a person writes it: the dot at the end may be missing
	Type   string       // empty: AAAA
	Client netip.Addr   // not valid: ::1
	Subnet netip.Prefix // of the client subnet option that a resolver would send; not valid: none
}

// Decision is what a server would answer now, and why. Nobody's turn is taken for it.
type Decision struct {
	Name       string       `json:"name"`
	Type       string       `json:"type"`
	Client     netip.Addr   `json:"client"`
	Subnet     netip.Prefix `json:"subnet,omitzero"`
	Site       string       `json:"site"`
	Zone       string       `json:"zone,omitempty"`
	View       string       `json:"view,omitempty"`
	Rcode      string       `json:"rcode"`
	Answer     []string     `json:"answer,omitempty"`     // records as in a zone file
	Reason     string       `json:"reason"`               // in words
	Service    *Summary     `json:"service,omitempty"`    // nil: the name is none, or the client does not see it
	Candidates []Endpoint   `json:"candidates,omitempty"` // as the client's view has them; of an A or AAAA question, those of its family
}

// Drained is the answer to an order.
type Drained struct {
	Service  string     `json:"service"`
	Address  netip.Addr `json:"address"`
	Draining bool       `json:"draining"`
	Kept     bool       `json:"kept"` // it survives a restart of the program, as it does a reload
}

// order is the body of a POST.
type order struct {
	Service string     `json:"service"`
	Address netip.Addr `json:"address"`
}
