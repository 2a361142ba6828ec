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
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strconv"
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
	Peers     []Peer     `json:"peers,omitempty"`   // one for each peer and VIP, VIP by VIP
	Bridge    *Bridge    `json:"bridge,omitempty"`  // nil: the agent has none
	Cluster   *Cluster   `json:"cluster,omitempty"` // nil: the agent has none
	Brake     string     `json:"brake,omitempty"`   // why nothing is withdrawn now, over all services; empty: the brake is off
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

// VIP is one service address, the prefix that announces it, and where it stands: the state of a service is the worst of
// its VIPs'. What an agent does not know it leaves empty.
type VIP struct {
	Address  netip.Prefix `json:"address"`
	Announce netip.Prefix `json:"announce"`

	State  string    `json:"state,omitempty"` // as in the journal
	Since  time.Time `json:"since,omitzero"`  // of State
	Reason string    `json:"reason,omitempty"`
	Next   string    `json:"next,omitempty"` // what happens next, when, and what it depends on; for people

	Announced Announced  `json:"announced,omitzero"`
	Bridge    *VIPBridge `json:"bridge,omitempty"` // nil: its packets are not bridged
	Guard     *VIPGuard  `json:"guard,omitempty"`  // nil: none acts, and its budget is whole
}

// Announced is who is told what of a VIP, and who else is seen to announce it.
type Announced struct {
	As    string       `json:"as,omitempty"`    // "plain", "de-preferred", "marked" (de-preferred, and marked as sick); empty: not announced
	To    []netip.Addr `json:"to,omitempty"`    // neighbors whose sessions carry it
	Heard []netip.Addr `json:"heard,omitempty"` // neighbors that send back a route of another origin
	Peers []string     `json:"peers,omitempty"` // that say they announce and serve it
}

// VIPBridge is where a VIP's packets go instead of to this host, and how many did.
type VIPBridge struct {
	Targets []Target  `json:"targets"`
	Since   time.Time `json:"since"`
	Packets uint64    `json:"packets"` // those dropped included
	Bytes   uint64    `json:"bytes"`
	Dropped uint64    `json:"dropped"`       // of Packets: over the limit
	Last    time.Time `json:"last,omitzero"` // when Packets last grew; zero: never
}

// Target is a peer to which bridged packets go.
type Target struct {
	Peer   string `json:"peer"`
	Weight int    `json:"weight"` // its share among the targets
}

// VIPGuard is what keeps a VIP from being withdrawn, or from being announced.
type VIPGuard struct {
	Holds           string    `json:"holds,omitempty"`            // what keeps it announced though sick: "last_announcer", "brake", "budget"; empty: nothing
	SuppressedUntil time.Time `json:"suppressed_until,omitzero"`  // not announced in full before then; zero: it may be
	WithdrawalsLeft *int      `json:"withdrawals_left,omitempty"` // before the budget holds it; nil: there is no limit
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
	BFD        *BFD           `json:"bfd,omitempty"`         // nil: none is configured
}

// BFD is the BFD session with a neighbor.
type BFD struct {
	State       string       `json:"state"`            // RFC 5880 section 6.2: down, init, up, admin_down
	RemoteState string       `json:"remote_state"`     // as last received
	Since       time.Time    `json:"since"`            // of State
	Interval    Milliseconds `json:"interval_ms"`      // between two packets that are sent
	Detection   Milliseconds `json:"detection_ms"`     // without a packet for so long: down
	Diag        string       `json:"diag,omitempty"`   // RFC 5880 section 4.1: why the state last changed to down
	Reason      string       `json:"reason,omitempty"` // of the last change, for people
	RealTime    bool         `json:"real_time"`        // scheduled ahead of ordinary programs
}

// Peer is what is known of one VIP at one other host.
type Peer struct {
	Name       string       `json:"name"`
	Site       string       `json:"site"`
	VIP        netip.Addr   `json:"vip"`
	Reachable  bool         `json:"reachable"` // it answers through the tunnel, at the VIP
	Serving    bool         `json:"serving"`   // this and what follows: as it last said
	Announcing bool         `json:"announcing"`
	Bridging   bool         `json:"bridging,omitempty"`
	Headroom   int          `json:"headroom"`         // percent of its capacity that is free
	RTT        Milliseconds `json:"rtt_ms,omitempty"` // 0: unknown
	Since      time.Time    `json:"since"`            // of Reachable
	Reason     string       `json:"reason,omitempty"` // why it is no target; empty: it may be one
}

// Bridge is local repair as a whole.
type Bridge struct {
	Mode     string    `json:"mode"` // srv6, vxlan, off; auto before it is chosen
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is a precondition that is not met.
type Problem struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
	Fatal  bool   `json:"fatal,omitempty"` // nothing that it concerns is bridged while it lasts
}

// Cluster is what Kubernetes asks for.
type Cluster struct {
	Node     string           `json:"node"`             // that the agent runs on
	Synced   bool             `json:"synced"`           // all was read once; before, nothing of it is announced
	Heard    time.Time        `json:"heard,omitzero"`   // when the API last told something; zero: never
	Leader   string           `json:"leader,omitempty"` // the node whose agent gives addresses; empty: not known
	Services []ClusterService `json:"services"`
}

// ClusterService is a Service that asks for addresses. What is announced stands in the agent's own services, whose names are
// NAME/ipv6 and NAME/ipv4.
type ClusterService struct {
	Name      string           `json:"name"` // NAMESPACE/NAME
	Addresses []ClusterAddress `json:"addresses"`
	Problems  []string         `json:"problems,omitempty"`
}

// ClusterAddress is an address that a Service has, or is to have.
type ClusterAddress struct {
	Address netip.Addr `json:"address"`
	From    string     `json:"from"`   // where it comes from
	Wanted  bool       `json:"wanted"` // this node is to announce it
	Why     string     `json:"why"`    // or is not
}

// Milliseconds is a duration that is a number of milliseconds in JSON.
type Milliseconds time.Duration

// MarshalJSON implements json.Marshaler.
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/float64(time.Millisecond), 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Milliseconds) UnmarshalJSON(b []byte) error {
	var ms float64
	err := json.Unmarshal(b, &ms)
	*m = Milliseconds(math.Round(ms * float64(time.Millisecond)))
	return err
}

// String returns the duration as time.Duration does, to a hundredth of a millisecond.
func (m Milliseconds) String() string { return time.Duration(m).Round(10 * time.Microsecond).String() }

// order is the body of a POST.
type order struct {
	Service string `json:"service"`
}
