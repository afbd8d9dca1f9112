// Package ext stands in for Traefik's own empty module of this name, which Traefik's go.mod takes from its repository's folder; the
// archive of a Go module holds no other module.
package ext

// HTTP adds nothing to a dynamic configuration.
type HTTP struct{}

// Router adds nothing to a router.
type Router struct{}

// RouterIng adds nothing to a router that a Kubernetes Ingress describes.
type RouterIng struct{}

// ToRouter returns what the Ingress adds to the router.
func (RouterIng) ToRouter() Router { return Router{} }
