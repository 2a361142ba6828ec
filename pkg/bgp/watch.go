package bgp

import (
	"net/netip"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// onSent is called by GoBGP's sending goroutine of one neighbor: it must be quick.
func (s *Speaker) onSent(at time.Time, neighbor netip.Addr, u update) {
	if n := s.counts[neighbor]; n != nil {
		n.sent.Add(1)
	}
	if s.ledger.wrote(at, neighbor, u) {
		signal(s.kick)
	}
}

// onReceived is called by GoBGP's receiving goroutine of one neighbor: it must be quick.
func (s *Speaker) onReceived(neighbor netip.Addr, u update, r route) {
	if n := s.counts[neighbor]; n != nil {
		n.received.Add(1)
	}
	if s.sensor.received(neighbor, u, r) {
		signal(s.changed)
	}
}

// onText is called by GoBGP's receiving goroutine of one neighbor, before the event that the session is lost.
func (s *Speaker) onText(neighbor netip.Addr, communication string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[neighbor] = communication
}

// onPeer is called by GoBGP's watcher, one event after the other.
func (s *Speaker) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	state := ev.Peer.State
	if ev.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	was, known := s.noteState(state.NeighborAddress, at, ev.Peer)
	up := state.SessionState == bgp.BGP_FSM_ESTABLISHED
	if !up {
		s.sensor.lost(state.NeighborAddress)
	}
	switch {
	case !known || was == up:
		return
	case up:
		s.sessionUp(state.NeighborAddress, at)
	default:
		s.sessionDown(state.NeighborAddress)
	}
	signal(s.changed)
	signal(s.kick)
}

// noteState keeps the neighbor's status and tells whether it was established.
func (s *Speaker) noteState(addr netip.Addr, at time.Time, peer apiutil.Peer) (wasUp, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status[addr]
	if st == nil {
		return false, false
	}
	wasUp = st.Established
	name := stateName(peer.State.SessionState)
	if name != st.State {
		st.State, st.Since = name, at
	}
	st.Established = peer.State.SessionState == bgp.BGP_FSM_ESTABLISHED
	switch {
	case st.Established && !wasUp:
		n := negotiate(addr, peer.State.RemoteCap)
		st.Families, st.ExtendedNextHop = n.families(), n.extended
	case wasUp && !st.Established:
		st.Families, st.ExtendedNextHop, st.NotCarried = nil, false, nil
		st.Reason = s.reason(addr, peer.State.DisconnectMessage)
	}
	return wasUp, true
}

// reason is called with s.mu held.
func (s *Speaker) reason(addr netip.Addr, event string) string {
	event = strings.Replace(event, "subcode 10(undefined)", "subcode 10(BFD down)", 1) // RFC 9384, which GoBGP does not know
	said := s.said[addr]
	delete(s.said, addr)
	switch {
	case s.closing:
		return "closed by this speaker, which stops"
	case s.held[addr] != "":
		return "closed by this speaker: " + s.held[addr]
	case said != "":
		return event + ": " + said
	default:
		return event
	}
}

func (s *Speaker) sessionUp(addr netip.Addr, at time.Time) {
	s.mu.Lock()
	st := s.status[addr]
	families, extended := st.Families, st.ExtendedNextHop
	s.mu.Unlock()
	v4, v6 := carried(addr, families, extended)
	notCarried := s.ledger.established(at, addr, v4, v6)

	s.mu.Lock()
	st.NotCarried = notCarried
	if addr.Is6() && v4 {
		s.policy[addr] = true
	}
	s.mu.Unlock()
	s.metrics.up(addr)
	s.log.Info("bgp session established", "neighbor", addr, "families", families, "extended_next_hop", extended)
}

func (s *Speaker) sessionDown(addr netip.Addr) {
	s.mu.Lock()
	reason, closing := s.status[addr].Reason, s.closing
	if addr.Is6() {
		s.policy[addr] = false
	}
	s.ended = append(s.ended, addr)
	s.mu.Unlock()
	s.ledger.lost(addr)
	s.metrics.down(addr)
	if closing {
		s.log.Info("bgp session closed", "neighbor", addr)
		return
	}
	s.log.Warn("bgp session lost", "neighbor", addr, "reason", reason)
}

// A negotiated is what a neighbor offered in its OPEN; this side offers both families and extended next hop.
type negotiated struct {
	v4, v6, extended bool
}

func negotiate(addr netip.Addr, caps []bgp.ParameterCapabilityInterface) negotiated {
	var n negotiated
	multiprotocol := false
	for _, c := range caps {
		switch c := c.(type) {
		case *bgp.CapMultiProtocol:
			multiprotocol = true
			n.v4 = n.v4 || c.CapValue == bgp.RF_IPv4_UC
			n.v6 = n.v6 || c.CapValue == bgp.RF_IPv6_UC && addr.Is6()
		case *bgp.CapExtendedNexthop:
			for _, t := range c.Tuples {
				n.extended = n.extended || t.NLRIAFI == bgp.AFI_IP && t.NLRISAFI == uint16(bgp.SAFI_UNICAST) && t.NexthopAFI == bgp.AFI_IP6
			}
		}
	}
	n.v4 = n.v4 || !multiprotocol // RFC 4760: without the capability it is IPv4 unicast
	n.extended = n.extended && n.v4 && addr.Is6()
	return n
}

func (n negotiated) families() []string {
	var l []string
	if n.v6 {
		l = append(l, familyIPv6)
	}
	if n.v4 {
		l = append(l, familyIPv4)
	}
	return l
}

// Names of the address families, as in NeighborStatus.
const (
	familyIPv4 = "ipv4-unicast"
	familyIPv6 = "ipv6-unicast"
)

// carried tells which prefixes a session can carry. IPv4 over an IPv6 session needs a next hop that the router can use.
func carried(addr netip.Addr, families []string, extended bool) (v4, v6 bool) {
	for _, f := range families {
		v4 = v4 || f == familyIPv4 && (addr.Is4() || extended)
		v6 = v6 || f == familyIPv6
	}
	return v4, v6
}

// stateName returns the state's name as in RFC 4271 section 8.2.2.
func stateName(s bgp.FSMState) string {
	switch s {
	case bgp.BGP_FSM_IDLE:
		return "idle"
	case bgp.BGP_FSM_CONNECT:
		return "connect"
	case bgp.BGP_FSM_ACTIVE:
		return "active"
	case bgp.BGP_FSM_OPENSENT:
		return "opensent"
	case bgp.BGP_FSM_OPENCONFIRM:
		return "openconfirm"
	case bgp.BGP_FSM_ESTABLISHED:
		return "established"
	default:
		return "unknown"
	}
}
