package main

import (
	"context"
	"fmt"
	"time"

	"github.com/anyedge/anyedge/internal/config"
)

// stopMargin is for everything of a stop but the longest drain: withdrawals, waits for what is under way, addresses.
const stopMargin = 30 * time.Second

// tellManager tells systemd that the agent is up, then that it is alive for as long as its parts answer.
func (a *agent) tellManager(ctx context.Context) error {
	a.told(a.manager.Ready(fmt.Sprintf("watching %d services", len(a.cfg.Services))))
	a.told(a.manager.Watch(ctx, func() {
		a.monitor.Status()
		a.speaker.Neighbors() // asks GoBGP's own loop, too
	}))
	<-ctx.Done()
	return nil
}

// tellStopping asks systemd for the time that the longest drain takes, once the agent decides nothing new.
func (a *agent) tellStopping(deciding, serving context.Context) error {
	select {
	case <-deciding.Done():
		a.told(a.manager.Stopping("draining", stopTime(a.cfg)))
	case <-serving.Done():
	}
	<-serving.Done()
	return nil
}

// told logs what did not get through: no service is to be lost because systemd does not listen.
func (a *agent) told(err error) {
	if err != nil {
		a.log.Warn("the service manager did not hear", "err", err)
	}
}

func stopTime(cfg config.Agent) time.Duration { return longestDrain(cfg) + stopMargin }
