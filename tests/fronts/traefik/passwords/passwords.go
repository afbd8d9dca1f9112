// Package auth stands in for the fork of go-http-auth that Traefik is built with, which the Go module proxy does not have. It belongs to
// the middlewares basicAuth and digestAuth, which are not tried here: nobody is let in by a password.
package auth

import "net/http"

// BasicAuth lets nobody in.
type BasicAuth struct {
	Realm   string
	Secrets func(user, realm string) string
}

// DigestAuth lets nobody in.
type DigestAuth struct{}

// NewDigestAuthenticator returns one that lets nobody in.
func NewDigestAuthenticator(string, func(user, realm string) string) *DigestAuth {
	return &DigestAuth{}
}

// DigestAuthParams returns no parameters.
func DigestAuthParams(string) map[string]string { return nil }

// CheckSecret is false.
func CheckSecret(string, string) bool { return false }

// RequireAuth refuses the request.
func (*BasicAuth) RequireAuth(response http.ResponseWriter, _ *http.Request) { refuse(response) }

// CheckAuth returns no user.
func (*DigestAuth) CheckAuth(*http.Request) (string, *string) { return "", nil }

// RequireAuth refuses the request.
func (*DigestAuth) RequireAuth(response http.ResponseWriter, _ *http.Request) { refuse(response) }

// RequireAuthStale refuses the request.
func (*DigestAuth) RequireAuthStale(response http.ResponseWriter, _ *http.Request) {
	refuse(response)
}

func refuse(response http.ResponseWriter) {
	http.Error(response, "no password is accepted", http.StatusUnauthorized)
}
