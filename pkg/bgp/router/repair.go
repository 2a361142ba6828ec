package router

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// GoBGP loses a change that comes between the first table of a new session and the moment when the session counts as
// established. So a young session is told everything once more: all routes, and the withdrawal of every prefix that went
// away meanwhile.

// Prefixes in these sets are not announced. GoBGP's sets are of one address family.
const (
	muted4 = "muted-ipv4"
	muted6 = "muted-ipv6"
)

// defineMuted makes the sets, empty, and the export policy that heeds them; it lets everything else out.
func defineMuted(ctx context.Context, s *server.BgpServer) error {
	policy := &api.Policy{Name: "muted"}
	for _, name := range []string{muted4, muted6} {
		if err := s.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: mutedSet(name)}); err != nil {
			return err
		}
		policy.Statements = append(policy.Statements, &api.Statement{
			Name:       name,
			Conditions: &api.Conditions{PrefixSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name}},
			Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT},
		})
	}
	if err := s.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
		return err
	}
	return s.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT,
		DefaultAction: api.RouteAction_ROUTE_ACTION_ACCEPT, Policies: []*api.Policy{policy},
	}})
}

func mutedSet(name string, prefixes ...netip.Prefix) *api.DefinedSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: name}
	for _, p := range prefixes {
		set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: uint32(p.Bits()), MaskLengthMax: uint32(p.Bits())})
	}
	return set
}

// noteGone notes a withdrawal that a session may miss.
func (r *Router) noteGone(p netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.opening)+len(r.young) > 0 {
		r.gone[p] = true
	}
}

// repair tells young sessions everything once more.
func (r *Router) repair(ctx context.Context) {
	young, gone := r.takeYoung()
	if len(young) == 0 {
		return
	}
	if len(gone) > 0 {
		if err := r.withdrawAgain(ctx, gone); err != nil {
			r.log.Warn("routes not withdrawn again", "prefixes", gone, "error", err)
		}
		young = r.established() // who else had news of a muted prefix did not get them
	}
	for _, n := range young {
		request := &api.ResetPeerRequest{Address: n.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT}
		if err := r.server.ResetPeer(ctx, request); err != nil {
			r.log.Warn("routes not sent again", "neighbor", n, "error", err)
		}
	}
}

// takeYoung returns the young sessions and what is gone for good. The latter is kept for sessions that are still opening.
func (r *Router) takeYoung() (young []netip.Addr, gone []netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.young {
		young = append(young, n)
	}
	clear(r.young)
	for p := range r.gone {
		if !r.fib.has(p) && !slices.Contains(r.originated, p) {
			gone = append(gone, p)
		}
	}
	if len(r.opening) == 0 {
		clear(r.gone)
	}
	return young, gone
}

func (r *Router) established() (l []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.up {
		l = append(l, n)
	}
	return l
}

// withdrawAgain makes GoBGP withdraw prefixes that are not in its table. It withdraws only what is there: so they are put
// there, muted, where no neighbor sees them, and taken out, which the policy does not stop.
func (r *Router) withdrawAgain(ctx context.Context, prefixes []netip.Prefix) error {
	var v4, v6 []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return errors.Join(r.withdrawMuted(ctx, muted4, v4), r.withdrawMuted(ctx, muted6, v6))
}

func (r *Router) withdrawMuted(ctx context.Context, name string, prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return nil
	}
	var paths []*apiutil.Path
	for _, p := range prefixes {
		path, err := localPath(p)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	set := mutedSet(name, prefixes...)
	if err := r.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
		return err
	}
	_, err := r.server.AddPath(apiutil.AddPathRequest{Paths: paths})
	return errors.Join(err,
		r.server.DeletePath(apiutil.DeletePathRequest{Paths: paths}),
		r.server.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set}))
}
