package bgp

import (
	"context"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// AddForeign puts a prefix into GoBGP's table behind the speaker's back.
func (s *Speaker) AddForeign(p netip.Prefix) error {
	s.apply.Lock()
	defer s.apply.Unlock()
	return addPaths(s.server, s.config.ASN, Advertisement{Prefix: p})
}

// Table returns all prefixes in GoBGP's table.
func (s *Speaker) Table() (n int, err error) {
	s.apply.Lock()
	defer s.apply.Unlock()
	for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
		t, err := s.server.GetTable(context.Background(), &api.GetTableRequest{
			TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}})
		if err != nil {
			return 0, err
		}
		n += int(t.NumDestination)
	}
	return n, nil
}

// Unheard runs change while the export policy lets nothing of p out, as if GoBGP had lost the UPDATEs for it.
func (s *Speaker) Unheard(p netip.Prefix, change func() error) error {
	set := prefixSet(allowed6, p)
	if err := s.server.DeleteDefinedSet(context.Background(), &api.DeleteDefinedSetRequest{DefinedSet: set}); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return s.server.AddDefinedSet(context.Background(), &api.AddDefinedSetRequest{DefinedSet: set})
}

// PretendWritten makes the speaker believe that a neighbor was sent a prefix.
func (s *Speaker) PretendWritten(neighbor netip.Addr, p netip.Prefix) {
	s.onSent(time.Now(), neighbor, update{announced: []netip.Prefix{p}, says: Attributes{}.onWire(false)})
}

// StopGoBGP ends GoBGP under a running speaker.
func (s *Speaker) StopGoBGP() error {
	s.apply.Lock()
	defer s.apply.Unlock()
	return s.server.StopBgp(context.Background(), &api.StopBgpRequest{})
}
