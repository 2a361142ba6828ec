// Package steering picks endpoints: which pods answer for a name, and in which turn. Pure: no clock, no I/O, standard
// library only.
package steering

import "net/netip"

// Policy is how endpoints are picked.
type Policy int

// RoundRobin ("rr") takes the eligible endpoints in turn. More policies come later.
const (
	RoundRobin Policy = iota + 1
)

// State is what the checks say of an endpoint. An endpoint without a check is Up.
type State int

// The states of an endpoint.
const (
	Unknown State = iota
	Up
	Down
)

// An Endpoint is one pod's own address.
type Endpoint struct {
	Address netip.Addr
	Port    uint16
	State   State
}

// A Service is a name and the endpoints that may answer for it.
type Service struct {
	Name      string // fully qualified, lower case
	Policy    Policy
	Answers   int // 1 to N addresses an answer
	Endpoints []Endpoint
}
