// Starts the page: header, live updates, router.

import { startHeader } from './header.js';
import { startLive } from './live.js';
import { rewrite, startRouter } from './router.js';

// Searches had the address `/?…` before there was an overview.
if (location.pathname === '/' && /[?&](service|operation|tags|min_duration|max_duration|error|limit)=/.test(location.search)) {
  rewrite(`/traces${location.search}`);
}
startLive();
startHeader();
startRouter([
  { path: /^\/$/, nav: 'overview', load: () => import('./pages/overview.js') },
  { path: /^\/services\/([^/]+)$/, nav: 'overview', load: () => import('./pages/service.js') },
  { path: /^\/traces$/, nav: 'traces', load: () => import('./pages/traces.js') },
  { path: /^\/trace\/([^/]*)\/?$/, nav: 'traces', load: () => import('./pages/trace.js') },
  { path: /^\/logs$/, nav: 'logs', load: () => import('./pages/logs.js') },
  { path: /^\/alerts$/, nav: 'alerts', load: () => import('./pages/alerts.js') },
  { path: /^\/alerts\/([0-9a-f-]+)$/, nav: 'alerts', load: () => import('./pages/alert.js') },
  { path: /^\/faults$/, nav: 'faults', load: () => import('./pages/faults.js') },
]);
