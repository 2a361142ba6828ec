package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

const port = 179

// startGoBGP makes a serving GoBGP that balances over equal paths and has no neighbor yet.
func startGoBGP(ctx context.Context, c Config, log *slog.Logger) (*server.BgpServer, error) {
	s := server.NewBgpServer(server.LoggerOption(slog.New(quieter{log.Handler()}), new(slog.LevelVar)))
	go s.Serve()
	global := &api.Global{Asn: c.ASN, RouterId: c.RouterID.String(), ListenPort: port, UseMultiplePaths: true}
	if err := s.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		s.Stop()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("bgp port %d: in use in this network namespace, stop the other router: %w", port, err)
		}
		return nil, fmt.Errorf("cannot start bgp on port %d: %w", port, err)
	}
	if err := defineMuted(ctx, s); err != nil {
		s.Stop()
		return nil, fmt.Errorf("bgp export policy: %w", err)
	}
	if slices.ContainsFunc(c.Neighbors, func(n Neighbor) bool { return n.TTLSecurity }) {
		if err := raiseHopLimit(port); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// gobgpPeer is the neighbor in GoBGP's words: both families over an IPv6 session. Graceful restart stays off.
func gobgpPeer(n Neighbor, hold time.Duration, passive bool) *api.Peer {
	seconds := uint64(hold / time.Second)
	p := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: n.Address.String(), PeerAsn: n.ASN, AuthPassword: n.Password},
		Timers:    &api.Timers{Config: &api.TimersConfig{ConnectRetry: 2, HoldTime: seconds, KeepaliveInterval: max(seconds/3, 1), IdleHoldTimeAfterReset: 1}},
		Transport: &api.Transport{PassiveMode: passive},
		AfiSafis:  []*api.AfiSafi{afiSafi(api.Family_AFI_IP)},
	}
	if n.TTLSecurity {
		p.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if n.Address.Is6() {
		p.AfiSafis = []*api.AfiSafi{afiSafi(api.Family_AFI_IP6), afiSafi(api.Family_AFI_IP)}
	}
	return p
}

func afiSafi(afi api.Family_Afi) *api.AfiSafi {
	return &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}}
}

// localPath is a prefix originated here with next hop self.
func localPath(p netip.Prefix) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("prefix %s: %w", p, err)
	}
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	if p.Addr().Is4() {
		nextHop, err := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		if err != nil {
			return nil, fmt.Errorf("prefix %s: %w", p, err)
		}
		return &apiutil.Path{Family: bgp.RF_IPv4_UC, Nlri: nlri, Attrs: append(attrs, nextHop)}, nil
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	if err != nil {
		return nil, fmt.Errorf("prefix %s: %w", p, err)
	}
	return &apiutil.Path{Family: bgp.RF_IPv6_UC, Nlri: nlri, Attrs: append(attrs, reach)}, nil
}

// nextHop returns a path's next hop; where only a link-local one is given, it has the zone of the neighbor.
func nextHop(p *apiutil.Path) netip.Addr {
	for _, a := range p.Attrs {
		var hop netip.Addr
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			hop = a.Nexthop
		case *bgp.PathAttributeNextHop:
			hop = a.Value
		default:
			continue
		}
		if hop.IsLinkLocalUnicast() {
			return hop.WithZone(p.PeerAddress.Zone())
		}
		return hop
	}
	return netip.Addr{}
}

// quieter is a slog.Handler that passes GoBGP's log on one level lower: the router tells of its sessions itself.
type quieter struct{ slog.Handler }

func (q quieter) Enabled(ctx context.Context, l slog.Level) bool { return q.Handler.Enabled(ctx, l-4) }

func (q quieter) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= 4
	return q.Handler.Handle(ctx, r)
}

func (q quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieter{q.Handler.WithAttrs(attrs)}
}

func (q quieter) WithGroup(name string) slog.Handler { return quieter{q.Handler.WithGroup(name)} }
