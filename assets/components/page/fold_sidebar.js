/* On a phone the sidebar lies over the page. Streamlit's own menu folds it when a page is chosen; our links ask for the same.
   The page shown before hangs on globalThis, because every page mounts the sidebar's content anew. */
export default function (component) {
  const { page } = component.data;
  const before = globalThis.__gptExplorerPage;
  globalThis.__gptExplorerPage = page;
  if (before === undefined || before === page || window.innerWidth > 768) return;
  const sidebar = document.querySelector('[data-testid="stSidebar"]');
  if (sidebar?.dataset.collapsed === "true") return;
  sidebar?.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
}
