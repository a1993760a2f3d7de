// Written by tools/embed-page from assets/icon.svg; change that one.

enum PageIcon {
  static let text = ##"""
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="8" fill="#0f766e"/>
<path d="M7 6v20M25 6v20" stroke="#ccfbf1" stroke-width="3" stroke-linecap="round"/>
<path d="M7 11h18" stroke="#5eead4" stroke-width="3"/>
<path d="M8 18q4-3 8 0t8 0M8 23q4-3 8 0t8 0" fill="none" stroke="#fff" stroke-width="2.4"
 stroke-linecap="round"/>
</svg>

"""##
}
