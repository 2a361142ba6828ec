package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/steering"
)

// none and shipped are what protects the server: nothing, and what writeConfig gives edgedns. Counters and the query log, which is
// off, are the same in both.
var (
	none    = dnsserver.Protection{Cookies: dnsserver.Cookies{Off: true}}
	shipped = dnsserver.Protection{RateLimit: dnsserver.RateLimit{Rate: shippedRate, Burst: shippedRate * 5 / 2, Slip: dnsserver.DefaultRateLimit.Slip}}
)

// bare is the server of edgedns without what is around it: no file, no checks, no metrics read. changes is how many endpoints change in
// a second, each through Server.Update as edgedns itself does it.
func bare(ctx context.Context, addr netip.AddrPort, protection dnsserver.Protection, changes int) error {
	sockets, err := dnsserver.Listen([]netip.AddrPort{addr})
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // as edgedns itself does
	s, err := dnsserver.New(dnsserver.Config{Site: "bench", Listeners: sockets, Protection: protection})
	if err != nil {
		return err
	}
	content := testContent()
	if err := s.Set(content); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	if changes > 0 {
		g.Go(func() error { return change(ctx, s, content.Services, changes) })
	}
	return g.Wait()
}

// change has one endpoint after the other change its weight: the answers stay the same four, in other turns.
func change(ctx context.Context, s *dnsserver.Server, services []steering.Service, perSecond int) error {
	const bunch = 10 * time.Millisecond // what the sources of a site tell at a time
	tick := time.NewTicker(bunch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range perSecond / int(time.Second/bunch) {
			sv := services[rand.IntN(len(services))].Clone()
			sv.Endpoints[rand.IntN(len(sv.Endpoints))].Capacity = 1 + rand.Float64()
			if err := s.Update(sv); err != nil {
				return fmt.Errorf("change: %w", err)
			}
		}
	}
}

// testContent is what every server has: 10,000 names with four AAAA records each.
func testContent() dnsserver.Content {
	zone := dnsserver.Zone{Name: zoneName, TTL: ttl, NS: []dnsserver.NS{{Name: "ns." + zoneName, Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:53::53")}}}}
	c := dnsserver.Content{Zones: []dnsserver.Zone{zone}, Synced: true}
	for i := range names {
		sv := steering.Service{Name: name(i), Policy: steering.Capacity, Answers: perName}
		for _, a := range addresses(i) {
			sv.Endpoints = append(sv.Endpoints, steering.Endpoint{Address: a, State: steering.Up})
		}
		c.Services = append(c.Services, sv)
	}
	return c
}
