package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// Names of GoBGP's policy objects.
const (
	importPolicy = "import-local-only"
	exportPolicy = "export-allowed"
	allowed4     = "allowed-ipv4"
	allowed6     = "allowed-ipv6"
	takes4       = "neighbors-that-take-ipv4"
)

const (
	connectRetry  = 2               // s; GoBGP waits 0.75 to 1 times this
	idleAfterLoss = 1               // s, after an administrative reset
	stopPatience  = 1 * time.Second // for the Cease to leave
)

// startGoBGP makes a serving, configured GoBGP that has no neighbor yet. On error nothing is left running.
func startGoBGP(ctx context.Context, c Config, routerID netip.Addr, logger *slog.Logger) (*server.BgpServer, error) {
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	s := server.NewBgpServer(server.LoggerOption(logger, level))
	go s.Serve()
	if err := configure(ctx, s, c, routerID); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func configure(ctx context.Context, s *server.BgpServer, c Config, routerID netip.Addr) error {
	global := &api.Global{Asn: c.ASN, RouterId: routerID.String(), ListenPort: int32(c.ListenPort)}
	err := s.StartBgp(ctx, &api.StartBgpRequest{Global: global})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen port %d: in use by another program; stop it, take another port, or -1 to dial only: %w", c.ListenPort, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen port %d: not permitted; run with CAP_NET_BIND_SERVICE, take a port above 1023, or -1 to dial only: %w", c.ListenPort, err)
	case err != nil:
		return fmt.Errorf("cannot start bgp: %w", err)
	}
	if err := importNothing(ctx, s); err != nil {
		return fmt.Errorf("bgp import policy: %w", err)
	}
	if err := exportOnly(ctx, s, c); err != nil {
		return fmt.Errorf("bgp export policy: %w", err)
	}
	return nil
}

// importNothing rejects all that neighbors send. Local paths pass the same policy: without the first statement AddPath
// succeeds and nothing is ever announced.
func importNothing(ctx context.Context, s *server.BgpServer) error {
	local := &api.Statement{
		Name:       "allow-local",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}
	return assign(ctx, s, api.PolicyDirection_POLICY_DIRECTION_IMPORT, &api.Policy{Name: importPolicy, Statements: []*api.Statement{local}})
}

// exportOnly lets out the allowed prefixes in their exact length and nothing else (RFC 8212). IPv4 goes only to the
// neighbors of the set takes4: IPv4 ones from the start, IPv6 ones once they have negotiated extended next hop. Of a family
// with a pool there is a set from the start, for allow to add to.
func exportOnly(ctx context.Context, s *server.BgpServer, c Config) error {
	policy := &api.Policy{Name: exportPolicy, Statements: prependStatements(c)}
	p4, p6 := byFamily(append(nothings(c.Pools), c.Allowed...))
	for _, set := range prependSets(c) {
		if err := s.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
			return err
		}
	}
	if err := defineNeighbors(ctx, s, c.Neighbors); err != nil {
		return err
	}
	if len(p4) > 0 {
		if err := s.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: prefixSet(allowed4, p4...)}); err != nil {
			return err
		}
		policy.Statements = append(policy.Statements, accept(allowed4, takes4))
	}
	if len(p6) > 0 {
		if err := s.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: prefixSet(allowed6, p6...)}); err != nil {
			return err
		}
		policy.Statements = append(policy.Statements, accept(allowed6, ""))
	}
	return assign(ctx, s, api.PolicyDirection_POLICY_DIRECTION_EXPORT, policy)
}

func assign(ctx context.Context, s *server.BgpServer, d api.PolicyDirection, policy *api.Policy) error {
	assignment := &api.PolicyAssignment{Name: "global", Direction: d, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT}
	if len(policy.Statements) > 0 {
		if err := s.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
			return err
		}
		assignment.Policies = []*api.Policy{policy}
	}
	return s.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: assignment})
}

func accept(prefixes, neighbors string) *api.Statement {
	st := &api.Statement{
		Name:       "accept-" + prefixes,
		Conditions: &api.Conditions{PrefixSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: prefixes}},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}
	if neighbors != "" {
		st.Conditions.NeighborSet = &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: neighbors}
	}
	return st
}

// nobody is in every set of neighbors: GoBGP takes an empty one for "every neighbor".
const nobody = "0.0.0.0/32"

// defineNeighbors makes the set takes4.
func defineNeighbors(ctx context.Context, s *server.BgpServer, neighbors []Neighbor) error {
	members := []string{nobody}
	for _, n := range neighbors {
		if n.Address.Is4() {
			members = append(members, host(n.Address))
		}
	}
	return s.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: neighborSet(members...)})
}

// nothings are prefixes that nobody announces, one for each family of the pools: what an empty set matches is not for us to
// rely on.
func nothings(pools []netip.Prefix) (all []netip.Prefix) {
	p4, p6 := byFamily(pools)
	if len(p4) > 0 {
		all = append(all, netip.PrefixFrom(netip.IPv4Unspecified(), 32))
	}
	if len(p6) > 0 {
		all = append(all, netip.PrefixFrom(netip.IPv6Unspecified(), 128))
	}
	return all
}

func neighborSet(members ...string) *api.DefinedSet {
	return &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: takes4, List: members}
}

func prefixSet(name string, prefixes ...netip.Prefix) *api.DefinedSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: name}
	for _, p := range prefixes {
		set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: uint32(p.Bits()), MaskLengthMax: uint32(p.Bits())})
	}
	return set
}

// host returns the prefix of one address; GoBGP's neighbor sets know no zones.
func host(a netip.Addr) string {
	return netip.PrefixFrom(a.WithZone(""), a.BitLen()).String()
}

func byFamily(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, p := range prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return v4, v6
}

// gobgpPeer is the neighbor in GoBGP's words. Graceful restart stays off: an agent that died must not keep its routes.
func gobgpPeer(n Neighbor, hold time.Duration) *api.Peer {
	seconds := uint64(hold / time.Second)
	p := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: n.Address.String(), PeerAsn: n.ASN, AuthPassword: n.Password},
		Timers:    &api.Timers{Config: &api.TimersConfig{ConnectRetry: connectRetry, HoldTime: seconds, KeepaliveInterval: max(seconds/3, 1), IdleHoldTimeAfterReset: idleAfterLoss}},
		Transport: &api.Transport{},
		AfiSafis:  []*api.AfiSafi{afiSafi(api.Family_AFI_IP)},
	}
	if n.Address.Is6() {
		p.AfiSafis = []*api.AfiSafi{afiSafi(api.Family_AFI_IP6), afiSafi(api.Family_AFI_IP)}
	}
	if n.TTLSecurity {
		p.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if n.Multihop > 0 {
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(n.Multihop)}
	}
	return p
}

func afiSafi(afi api.Family_Afi) *api.AfiSafi {
	return &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}}
}

// path is a prefix originated here: origin IGP and next hop self, which GoBGP fills in for each session, and what else is
// said of it.
func path(p netip.Prefix, more ...bgp.PathAttributeInterface) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("prefix %s: %w", p, err)
	}
	origin := bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)
	if p.Addr().Is4() {
		nextHop, err := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		if err != nil {
			return nil, fmt.Errorf("prefix %s: %w", p, err)
		}
		return &apiutil.Path{Family: bgp.RF_IPv4_UC, Nlri: nlri, Attrs: append([]bgp.PathAttributeInterface{origin, nextHop}, more...)}, nil
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	if err != nil {
		return nil, fmt.Errorf("prefix %s: %w", p, err)
	}
	return &apiutil.Path{Family: bgp.RF_IPv6_UC, Nlri: nlri, Attrs: append([]bgp.PathAttributeInterface{origin, reach}, more...)}, nil
}

// addPaths announces, or replaces what is announced of the same prefix.
func addPaths(s *server.BgpServer, asn uint32, ads ...Advertisement) error {
	if len(ads) == 0 {
		return nil
	}
	l := make([]*apiutil.Path, 0, len(ads))
	for _, ad := range ads {
		one, err := path(ad.Prefix, pathAttrs(asn, ad.Attributes)...)
		if err != nil {
			return err
		}
		l = append(l, one)
	}
	_, err := s.AddPath(apiutil.AddPathRequest{Paths: l})
	return err
}

func deletePaths(s *server.BgpServer, prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return nil
	}
	l := make([]*apiutil.Path, 0, len(prefixes))
	for _, p := range prefixes {
		one, err := path(p)
		if err != nil {
			return err
		}
		l = append(l, one)
	}
	return s.DeletePath(apiutil.DeletePathRequest{Paths: l})
}
