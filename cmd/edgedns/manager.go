package main

import (
	"context"
	"time"
)

// stopLimit is how long a stop may take: queries under way are answered.
const stopLimit = 10 * time.Second

// tellManager tells systemd that the server answers, that it is alive for as long as its parts answer, and that it stops.
func (p *daemon) tellManager(ctx context.Context) {
	p.told(p.manager.Ready("answering"))
	p.told(p.manager.Watch(ctx, func() { p.monitor.Load().Status() }))
	<-ctx.Done()
	p.told(p.manager.Stopping("stopping", stopLimit))
}

// told logs what did not get through: nobody is to lose answers because systemd does not listen.
func (p *daemon) told(err error) {
	if err != nil {
		p.log.Warn("the service manager did not hear", "err", err)
	}
}
