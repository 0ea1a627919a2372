import { defineConfig } from "vitest/config";
import { writeSourceDigest } from "./source_digest.ts";

/** The service that the development server asks; see README.md. */
const SERVICE = "http://127.0.0.1:8080";

// Names without hashes, so that a rebuild of the same source gives the same files; the service
// sends an ETag for each.
export default defineConfig({
  base: "/",
  plugins: [writeSourceDigest],
  build: {
    outDir: "../ui_service/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    target: "es2023",
    rollupOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "page[extname]",
      },
    },
  },
  server: { proxy: { "/api": { target: SERVICE, changeOrigin: true } } },
  test: { include: ["test/**/*.test.ts"] },
});
