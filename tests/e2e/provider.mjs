// The certified OpenID Provider of the npm registry, with people to choose from on its login form.
//
// Settings arrive as one JSON document on standard input: {port, clients, people}; the issuer is http://127.0.0.1:PORT.
// Prints "ready ISSUER" when it listens. `people` maps an account id to its claims. Optional:
//   jwks, ttl     the provider's own signing keys, lifetimes in seconds
//   features      more of `features`, as {"pushedAuthorizationRequests": {"requirePushedAuthorizationRequests": true}}
//   dpopNonce     every DPoP proof needs a nonce
//   refresh       every sign-in gets a refresh token, without `offline_access`
//   mutualTls     {port, certificate, key}: a second listener, which asks for client certificates; its endpoints are the `mtls_endpoint_aliases`

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { text } from 'node:stream/consumers';
import express from 'express';
import { Provider } from 'oidc-provider';

const { port, clients, people, jwks, ttl, features, dpopNonce, refresh, mutualTls } = JSON.parse(await text(process.stdin));
const issuer = `http://127.0.0.1:${port}`;

const certificateOf = (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString();
const aliased = { token_endpoint: 'token', userinfo_endpoint: 'me', revocation_endpoint: 'token/revocation', pushed_authorization_request_endpoint: 'request' };
const aliases = (origin) => Object.fromEntries(Object.entries(aliased).map(([name, path]) => [name, `${origin}/${path}`]));

const escape = (value) => String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:16px system-ui;max-width:26rem;margin:12vh auto}button{display:block;width:100%;padding:.8rem;margin:.5rem 0}</style>
<h1>${title}</h1>${body}</html>`;

const provider = new Provider(issuer, {
  clients,
  pkce: { required: () => true },
  scopes: ['openid', 'email', 'profile', 'offline_access'],
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username', 'groups'],
  },
  findAccount: (_ctx, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['only for tests'] },
  ...(jwks && { jwks }),
  ...(ttl && { ttl }),
  ...(refresh && { issueRefreshToken: () => true }),
  ...(mutualTls && { clientAuthMethods: ['self_signed_tls_client_auth'] }),
  ...(mutualTls && { discovery: { mtls_endpoint_aliases: aliases(`https://127.0.0.1:${mutualTls.port}`) } }),
  features: {
    ...features,
    ...(dpopNonce && { dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true } }),
    ...(mutualTls && {
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        getCertificate: certificateOf,
      },
    }),
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource(ctx, form) {
        const button = '<button form="op.logoutForm" name="logout" value="yes">Sign out of the provider</button>';
        ctx.body = page('Sign out', form + button);
      },
      postLogoutSuccessSource(ctx) {
        ctx.body = page('Signed out of the provider', '');
      },
    },
  },
  // Everybody has consented to everything: what is tested is the gateway.
  async loadExistingGrant(ctx) {
    const { session, client } = ctx.oidc;
    const known = session.grantIdFor(client.clientId);
    if (known) return ctx.oidc.provider.Grant.find(known);
    const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid email profile offline_access');
    await grant.save();
    return grant;
  },
  renderError(ctx, out) {
    ctx.type = 'html';
    ctx.body = page('Provider error', `<pre>${escape(JSON.stringify(out, null, 1))}</pre>`);
  },
});

provider.on('server_error', (_ctx, error) => console.error(error));
for (const event of ['authorization.error', 'grant.error', 'end_session.error', 'userinfo.error']) {
  provider.on(event, (_ctx, error) => console.error(event, error.error, error.error_description));
}

const app = express();
app.get('/interaction/:uid', async (request, response) => {
  const { prompt } = await provider.interactionDetails(request, response);
  const buttons = Object.entries(people).map(
    ([id, claims]) => `<button name="person" value="${escape(id)}">${escape(claims.name)}</button>`,
  );
  response.send(page('Who are you?', `<p>${escape(prompt.name)}</p><form method="post">${buttons.join('')}</form>`));
});
app.post('/interaction/:uid', express.urlencoded({ extended: false }), async (request, response) => {
  await provider.interactionFinished(request, response, { login: { accountId: request.body.person } });
});
app.use(provider.callback());

if (mutualTls) {
  const [cert, key] = [mutualTls.certificate, mutualTls.key].map((file) => readFileSync(file));
  createServer({ cert, key, requestCert: true, rejectUnauthorized: false }, app).listen(mutualTls.port, '127.0.0.1');
}
app.listen(port, '127.0.0.1', () => console.log(`ready ${issuer}`));
