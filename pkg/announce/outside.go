package announce

import (
	"net/netip"
	"strings"
	"time"
)

// outside is the world as the parts of a Controller tell it.
type outside struct {
	parts     Parts
	vips      []vipOf
	keeper    *keeper
	repair    *repair
	isolation []bool // of each VIP, at the last look
	now       time.Time
}

// follow replaces the VIPs.
func (o *outside) follow(vips []vipOf) {
	o.vips, o.isolation = vips, make([]bool, len(vips))
	o.look()
}

// look asks the speaker what its sessions carry. With 10,000 VIPs that takes a while: only after it said that something
// changed.
func (o *outside) look() {
	for i, v := range o.vips {
		o.isolation[i] = !o.parts.Speaker.Carries(v.Announce)
	}
}

func (o *outside) isolated(vip int) bool { return o.isolation[vip] }

func (o *outside) address(vip int) error { return o.keeper.blocked(o.vips[vip].VIP) }

func (o *outside) targets(vip int) ([]Target, error) {
	return o.repair.targets(o.vips[vip].Address, o.now)
}

func (o *outside) busy(vip int) time.Time { return o.repair.busy(o.vips[vip].Address) }

// others believes a peer's own word first, and then what the routers send back.
func (o *outside) others(vip int) string {
	v := o.vips[vip]
	if o.parts.Peers != nil {
		if names := o.parts.Peers.Announced(v.Address.Addr()); len(names) > 0 {
			return strings.Join(names, ", ")
		}
	}
	heard := o.parts.Speaker.Heard(v.Announce)
	if len(heard) == 0 {
		return ""
	}
	return "another host, as " + addresses(heard) + " tells"
}

func addresses(list []netip.Addr) string {
	all := make([]string, len(list))
	for i, a := range list {
		all[i] = a.String()
	}
	return strings.Join(all, ", ")
}
