package bgp_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// A rawPeer is a neighbor by hand, for what GoBGP as a peer cannot be: one without extended next hop.
type rawPeer struct {
	updates chan *gobgp.BGPUpdate
	done    chan struct{}
}

// newRawPeer listens on [addr]:179 and serves one session with the given capabilities.
func newRawPeer(t *testing.T, addr netip.Addr, asn uint16, caps ...gobgp.ParameterCapabilityInterface) *rawPeer {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 179)))
	if err != nil {
		t.Fatal(err)
	}
	p := &rawPeer{updates: make(chan *gobgp.BGPUpdate, 100), done: make(chan struct{})}
	t.Cleanup(func() { l.Close(); <-p.done })
	caps = append(caps, gobgp.NewCapFourOctetASNumber(uint32(asn)))
	open, err := gobgp.NewBGPOpenMessage(asn, 90, netip.MustParseAddr("203.0.113.9"),
		[]gobgp.OptionParameterInterface{gobgp.NewOptionParameterCapability(caps)})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if err := p.serve(conn, open); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("raw peer: %v", err)
		}
	}()
	return p
}

func (p *rawPeer) serve(conn net.Conn, open *gobgp.BGPMessage) error {
	if err := send(conn, open); err != nil {
		return err
	}
	for {
		head := make([]byte, gobgp.BGP_HEADER_LENGTH)
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		var h gobgp.BGPHeader
		if err := h.DecodeFromBytes(head); err != nil {
			return err
		}
		body := make([]byte, int(h.Len)-len(head))
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		m, err := gobgp.ParseBGPBody(&h, body)
		if err != nil {
			return err
		}
		switch b := m.Body.(type) {
		case *gobgp.BGPOpen, *gobgp.BGPKeepAlive:
			if err := send(conn, gobgp.NewBGPKeepAliveMessage()); err != nil {
				return err
			}
		case *gobgp.BGPUpdate:
			p.updates <- b
		}
	}
}

func send(conn net.Conn, m *gobgp.BGPMessage) error {
	b, err := m.Serialize()
	if err != nil {
		return err
	}
	_, err = conn.Write(b)
	return err
}
