package announce

import (
	"context"
	"net/netip"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// Parts are what a Controller works with.
type Parts struct {
	Health    Health
	Speaker   Speaker
	Addresses Addresses // nil: somebody else puts the addresses on the host
	Bridge    Bridge    // nil: nothing is bridged
	Peers     Peers     // nil: none are known
	Journal   *Journal  // nil: records nothing
	Drains    *Drains   // nil: nothing but stopping drains
}

// Health tells the state of the services, as health.Monitor does. It may leave out services: these stay unknown.
type Health interface {
	Changed() <-chan struct{} // one signal, not a queue
	Status() []health.Status
}

// Speaker announces, as bgp.Speaker does, and tells what routers send back.
type Speaker interface {
	// Set makes ads the whole wanted set and returns as soon as the change is taken.
	Set(ctx context.Context, ads ...bgp.Advertisement) (generation uint64, err error)
	// Wait returns when every neighbor that can be told was told.
	Wait(ctx context.Context, generation uint64) error
	// Heard returns the neighbors that send a route of another origin for the prefix, or for one that covers it and is no
	// default route. A route that is de-preferred itself does not count: who announces it may be no better off.
	Heard(prefix netip.Prefix) []netip.Addr
	// Carries tells whether an established session can carry the prefix.
	Carries(prefix netip.Prefix) bool
	// Changed receives after what Heard or Carries tell changed; capacity 1, read by the Controller alone.
	Changed() <-chan struct{}
}

// A Target is a host that can serve a VIP, and its share beside the other targets.
type Target struct {
	Peer   string `json:"peer"`
	Weight int    `json:"weight"`
}

// Bridging has the packets for a VIP carried to its targets.
type Bridging struct {
	VIP     netip.Prefix
	Targets []Target
}

// Bridge carries packets of VIPs to other hosts.
type Bridge interface {
	// Set makes wanted the whole wanted set and returns when the kernel has it. An error in its tree that has a method
	// VIP() netip.Prefix speaks of that VIP alone; any other speaks of all.
	Set(ctx context.Context, wanted ...Bridging) error
	// Busy returns when a packet of the VIP last came over its bridge; zero: none did since it was switched on.
	Busy(vip netip.Prefix) time.Time
	// Found returns the bridges that an earlier process left switched on. They stay on until the first Set.
	Found() []Bridging
	// Changed receives after a bridge fell quiet or became busy; capacity 1.
	Changed() <-chan struct{}
}

// Peers knows what other hosts say of themselves.
type Peers interface {
	// Targets returns the best hosts that serve the VIP now; empty: none does.
	Targets(vip netip.Addr) []Target
	// Announced returns the peers that announce the VIP and serve it themselves.
	Announced(vip netip.Addr) []string
	// Urgent says for which VIPs, all of them, news matters most.
	Urgent(vips ...netip.Addr)
	// Changed receives after what Targets or Announced tell changed; capacity 1.
	Changed() <-chan struct{}
}
