package bgp

import (
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// GoBGP keeps one path for all neighbors, but the AS path may be lengthened on eBGP sessions alone. So a path that wants
// it says how much in large communities (RFC 8092), one for each bit of the count. The export policy turns those into
// prepends where the neighbor is external, and takes them off for everybody: they never leave.
const (
	external    = "external-neighbors"
	anyMark     = "prepend-marks"
	prependBits = 4 // of MaxPrepend
	markTag     = 8326
)

func markName(bit int) string { return fmt.Sprintf("prepend-%d", 1<<bit) }

func mark(asn uint32, bit int) *bgp.LargeCommunity {
	return &bgp.LargeCommunity{ASN: asn, LocalData1: markTag, LocalData2: 1 << bit}
}

// marks returns the large communities that ask for n prepends; nil for none.
func marks(asn uint32, n uint8) bgp.PathAttributeInterface {
	var l []*bgp.LargeCommunity
	for bit := range prependBits {
		if n&(1<<bit) != 0 {
			l = append(l, mark(asn, bit))
		}
	}
	if l == nil {
		return nil
	}
	return bgp.NewPathAttributeLargeCommunities(l)
}

// prependSets are what prependStatements refer to.
func prependSets(c Config) []*api.DefinedSet {
	var all []string
	var sets []*api.DefinedSet
	for bit := range prependBits {
		text := mark(c.ASN, bit).String()
		all = append(all, text)
		sets = append(sets, markSet(markName(bit), text))
	}
	return append(sets, markSet(anyMark, all...), &api.DefinedSet{
		DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: external, List: externalNeighbors(c),
	})
}

func markSet(name string, members ...string) *api.DefinedSet {
	return &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_LARGE_COMMUNITY, Name: name, List: members}
}

// externalNeighbors is never empty: GoBGP would take that for everybody.
func externalNeighbors(c Config) []string {
	members := []string{nobody}
	for _, n := range c.Neighbors {
		if n.ASN != c.ASN {
			members = append(members, host(n.Address))
		}
	}
	return members
}

// prependStatements come before those that accept; they decide nothing, so that the policy goes on to the next one.
func prependStatements(c Config) []*api.Statement {
	var l []*api.Statement
	for bit := range prependBits {
		l = append(l, &api.Statement{
			Name: markName(bit),
			Conditions: &api.Conditions{
				NeighborSet:       &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: external},
				LargeCommunitySet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: markName(bit)},
			},
			Actions: &api.Actions{AsPrepend: &api.AsPrependAction{Asn: c.ASN, Repeat: 1 << bit}},
		})
	}
	return append(l, &api.Statement{
		Name:       "remove-" + anyMark,
		Conditions: &api.Conditions{LargeCommunitySet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: anyMark}},
		Actions: &api.Actions{LargeCommunity: &api.CommunityAction{
			Type: api.CommunityAction_TYPE_REMOVE, Communities: []string{fmt.Sprintf("^%d:%d:.*$", c.ASN, markTag)},
		}},
	})
}

// attrsOf reads what an UPDATE says, in the form of Attributes.onWire.
func attrsOf(attrs []bgp.PathAttributeInterface) (a Attributes) {
	for _, attr := range attrs {
		switch attr := attr.(type) {
		case *bgp.PathAttributeCommunities:
			l := make([]Community, 0, len(attr.Value))
			for _, c := range attr.Value {
				l = append(l, Community(c))
			}
			a.Communities = CommunitiesOf(l...)
		case *bgp.PathAttributeMultiExitDisc:
			a.MED = MetricOf(attr.Value)
		case *bgp.PathAttributeLocalPref:
			a.LocalPref = MetricOf(attr.Value)
		case *bgp.PathAttributeAsPath:
			for _, segment := range attr.Value {
				a.Prepend += uint8(len(segment.GetAS()))
			}
		}
	}
	return a
}

// pathAttrs are those of a in the table of GoBGP.
func pathAttrs(asn uint32, a Attributes) (l []bgp.PathAttributeInterface) {
	if members := a.Communities.List(); len(members) > 0 {
		values := make([]uint32, 0, len(members))
		for _, c := range members {
			values = append(values, uint32(c))
		}
		l = append(l, bgp.NewPathAttributeCommunities(values))
	}
	if a.MED.Set {
		l = append(l, bgp.NewPathAttributeMultiExitDisc(a.MED.Value))
	}
	if a.LocalPref.Set {
		l = append(l, bgp.NewPathAttributeLocalPref(a.LocalPref.Value))
	}
	if m := marks(asn, a.Prepend); m != nil {
		l = append(l, m)
	}
	return l
}

// advertised are prefixes and what is said of each.
type advertised = map[netip.Prefix]Attributes
