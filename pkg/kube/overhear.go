package kube

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

// overheard is a watch that tells of its errors. client-go keeps to itself what the API says inside of a watch, such as that
// the past which was asked for is gone.
type overheard struct {
	watched watch.Interface
	events  chan watch.Event
	stopped chan struct{}
	stop    func()
}

// overhear returns w, which it takes over. tell is not called any more once Stop has returned.
func overhear(w watch.Interface, tell func(error)) watch.Interface {
	o := &overheard{watched: w, events: make(chan watch.Event), stopped: make(chan struct{})}
	o.stop = sync.OnceFunc(func() { close(o.stopped); w.Stop() })
	go o.forward(tell)
	return o
}

// ResultChan implements watch.Interface.
func (o *overheard) ResultChan() <-chan watch.Event { return o.events }

// Stop implements watch.Interface.
func (o *overheard) Stop() {
	o.stop()
	for range o.events { // until forward has ended
	}
}

func (o *overheard) forward(tell func(error)) {
	defer close(o.events)
	for e := range o.watched.ResultChan() {
		if e.Type == watch.Error {
			tell(apierrors.FromObject(e.Object))
		}
		select {
		case o.events <- e:
		case <-o.stopped:
			return
		}
	}
}
