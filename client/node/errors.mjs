// What a refused call says beside its message, and which fields of a request would be lost.
import { fileURLToPath } from 'node:url';
import { loadSync } from '@grpc/proto-loader';

const protos = fileURLToPath(new URL('../../protos', import.meta.url));
const rpc = loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto'], {
  includeDirs: [protos], keepCase: true, longs: String,
});

/** The details of an error: ErrorInfo with `reason`, BadRequest with `field_violations`, ... */
export function details(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!bytes) return [];
  const found = rpc['google.rpc.Status'].deserialize(bytes).details ?? [];
  return found.map(({ type_url, value }) => rpc[type_url.split('/').pop()]?.deserialize(value) ?? {});
}

/** Paths of what a message has no field for. proto-loader drops it without a word. */
export function unknownFields(loaded, type, value, path = '') {
  const fields = new Map(loaded[type].type.field.map((field) => [field.name, field]));
  return Object.entries(value).flatMap(([name, inner]) => {
    if (!fields.has(name)) return [path + name];
    const inside = `mentorgrad.v1.${fields.get(name).typeName?.split('.').pop()}`;
    if (!loaded[inside]?.type.field) return []; // a plain value, an enum, a map
    return [inner].flat().flatMap((one) => unknownFields(loaded, inside, one, `${path}${name}.`));
  });
}
