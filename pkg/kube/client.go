package kube

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// client speaks the groups of the API that are needed. The typed clients of client-go would link all of them.
type client struct {
	core, discovery, networking, events, coordination rest.Interface

	http *http.Client
}

// close ends the connections that nobody uses.
func (c *client) close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// The limits of what is asked for in a second: a cluster's change must not make every site write at once.
const (
	queriesPerSecond = 20
	queriesAtOnce    = 40
)

// They are made when they are first needed: who links this and has no cluster does without them.
var (
	scheme     = sync.OnceValue(newScheme)
	codecs     = sync.OnceValue(func() serializer.CodecFactory { return serializer.NewCodecFactory(scheme()) })
	parameters = sync.OnceValue(func() runtime.ParameterCodec { return runtime.NewParameterCodec(scheme()) })
)

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, eventsv1.AddToScheme, coordinationv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // two types of one name: a mistake of this file
		}
	}
	return s
}

func newClient(cfg *rest.Config) (*client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "anyedge"
	cfg.QPS, cfg.Burst = queriesPerSecond, queriesAtOnce
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.NegotiatedSerializer = codecs().WithoutConversion()
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	c := &client{http: shared}
	for _, group := range []struct {
		version schema.GroupVersion
		into    *rest.Interface
	}{
		{corev1.SchemeGroupVersion, &c.core}, {discoveryv1.SchemeGroupVersion, &c.discovery},
		{networkingv1.SchemeGroupVersion, &c.networking}, {eventsv1.SchemeGroupVersion, &c.events},
		{coordinationv1.SchemeGroupVersion, &c.coordination},
	} {
		if *group.into, err = forGroup(cfg, group.version, shared); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func forGroup(cfg *rest.Config, version schema.GroupVersion, shared *http.Client) (rest.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion, cfg.APIPath = &version, "/apis"
	if version.Group == "" {
		cfg.APIPath = "/api"
	}
	return rest.RESTClientForConfigAndClient(cfg, shared)
}

// resource is a kind of objects that is read.
type resource struct {
	name    string
	of      func(*client) rest.Interface
	example runtime.Object // what a watch tells of
	list    func() runtime.Object
	reduced object // what becomes of it

	clusterWide bool // it is in no namespace
}

var (
	servicesKind = resource{
		name: "services", of: func(c *client) rest.Interface { return c.core },
		example: &corev1.Service{}, list: func() runtime.Object { return &corev1.ServiceList{} }, reduced: &service{},
	}
	ingressesKind = resource{
		name: "ingresses", of: func(c *client) rest.Interface { return c.networking },
		example: &networkingv1.Ingress{}, list: func() runtime.Object { return &networkingv1.IngressList{} }, reduced: &ingress{},
	}
	slicesKind = resource{
		name: "endpointslices", of: func(c *client) rest.Interface { return c.discovery },
		example: &discoveryv1.EndpointSlice{}, list: func() runtime.Object { return &discoveryv1.EndpointSliceList{} }, reduced: &slice{},
	}
	podsKind = resource{
		name: "pods", of: func(c *client) rest.Interface { return c.core },
		example: &corev1.Pod{}, list: func() runtime.Object { return &corev1.PodList{} }, reduced: &pod{},
	}
	nodesKind = resource{
		name: "nodes", of: func(c *client) rest.Interface { return c.core }, clusterWide: true,
		example: &corev1.Node{}, list: func() runtime.Object { return &corev1.NodeList{} }, reduced: &node{},
	}
)

// resources are what names are made of.
var resources = []resource{servicesKind, ingressesKind, slicesKind, podsKind}

func (c *client) list(ctx context.Context, r resource, namespace string, o metav1.ListOptions) (runtime.Object, error) {
	all := r.list()
	err := r.of(c).Get().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).VersionedParams(&o, parameters()).Do(ctx).Into(all)
	return all, err
}

func (c *client) watch(ctx context.Context, r resource, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	w, err := r.of(c).Get().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).VersionedParams(&o, parameters()).Watch(ctx)
	if _, opened := w.(*watch.StreamWatcher); err == nil && !opened {
		return nil, errHungUp
	}
	return w, err
}

// errHungUp stands for a watch that was never answered. client-go makes one of it that has ended, as if the API had spoken.
var errHungUp = errors.New("the connection was closed without an answer")

// quiet keeps client-go from logging: what readers are told, they tell themselves, once.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }
